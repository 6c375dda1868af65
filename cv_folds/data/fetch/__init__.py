"""Getting published data sets: what is published, transfer that resumes, unpacking that trusts nothing."""
