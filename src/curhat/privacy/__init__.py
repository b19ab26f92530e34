"""Personal data: export, deletion of an account, and how long each class of data is kept."""
