"""The systems that ship: small worlds over the model's generators."""
