"""`tiedae share`: files of anyone, rewritten so that each constant is stored once."""
