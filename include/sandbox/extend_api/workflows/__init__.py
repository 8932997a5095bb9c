"""The workflows that this workspace has: steps, processors, typed schemas, rules."""
