"""How to talk to a CRM: authentication, retries, rate limit, paging, one method a call."""
