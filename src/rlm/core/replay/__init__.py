"""What the record of an earlier run answers, so that it is not asked again."""
