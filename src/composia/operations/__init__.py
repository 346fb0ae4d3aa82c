"""What one node can be asked to do: the table of contents."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from composia.operations.arriving import (
    ClearTarget,
    PrepareTarget,
    RestoreData,
    StartOnTarget,
    StopTarget,
)
from composia.operations.backup import SaveData
from composia.operations.caddy import PlaceFragment, ReloadCaddy, RemoveFragment
from composia.operations.carrying import PreCopy, Receive
from composia.operations.certificates import ReceiveCertificates, SendCertificates
from composia.operations.forward import EndForward, ForwardHosts
from composia.operations.leaving import (
    ExportData,
    ResumeSource,
    RetireSource,
    StopSource,
    StopStale,
)
from composia.operations.offsite import CopySnapshots
from composia.operations.readings import ContainerLogs, ListSnapshot, ReadSnapshot
from composia.operations.repository import (
    CheckRepository,
    CompareRepository,
    DescribeRepository,
    ForgetSnapshot,
    OpenRepository,
)
from composia.operations.restore import ExchangeBack, ExchangeData, FetchData
from composia.operations.service import Deploy, Restart, Stop
from composia.operations.surveying import SurveySource, SurveyTarget
from composia.operations.tidying import ForgetSnapshots, PruneRepository
from composia.operations.verifying import VerifyDump, VerifyFiles

AnyOperation = Annotated[
    Deploy
    | Stop
    | Restart
    | OpenRepository
    | DescribeRepository
    | CompareRepository
    | CheckRepository
    | ForgetSnapshot
    | ForgetSnapshots
    | PruneRepository
    | CopySnapshots
    | VerifyFiles
    | VerifyDump
    | SaveData
    | FetchData
    | ExchangeData
    | ExchangeBack
    | SurveySource
    | SurveyTarget
    | PreCopy
    | Receive
    | PrepareTarget
    | RestoreData
    | StartOnTarget
    | StopTarget
    | ClearTarget
    | ExportData
    | StopSource
    | ResumeSource
    | RetireSource
    | StopStale
    | PlaceFragment
    | RemoveFragment
    | ReloadCaddy
    | ForwardHosts
    | EndForward
    | SendCertificates
    | ReceiveCertificates,
    Field(discriminator="op"),
]

AnyReading = Annotated[
    ListSnapshot | ReadSnapshot | ContainerLogs | SurveySource | SurveyTarget,
    Field(discriminator="reading"),
]
