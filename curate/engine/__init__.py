"""How work is distributed: one verb, two engines, and the exchange."""
