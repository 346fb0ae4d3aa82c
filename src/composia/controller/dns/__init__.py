"""DNS records of services, at whoever serves their zones."""
