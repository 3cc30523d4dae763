"""`tiedae verify`: measurements of a bundle, checked against limits and a baseline."""
