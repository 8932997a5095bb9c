"""What AWS checks of a request and moto does not, with AWS's answers."""
