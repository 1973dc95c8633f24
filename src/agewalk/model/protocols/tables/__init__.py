"""Truth tables of protocols: made, held and compared."""
