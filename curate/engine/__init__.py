"""How work is distributed: the engines `local` and `ray`, and the exchange of rows between tasks."""
