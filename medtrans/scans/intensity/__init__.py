"""From stored bits to physical values: decoding, rescaling, units."""
