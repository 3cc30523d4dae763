"""`tiedae verify`: what is measured of a bundle, held to limits and compared with a baseline."""
