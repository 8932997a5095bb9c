"""The workflows that this workspace has: their steps, their processors, the rules that they check."""
