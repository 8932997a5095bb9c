"""S3: clients for each region, listings, and what its refusals mean."""
