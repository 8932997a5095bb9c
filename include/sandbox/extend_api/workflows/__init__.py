"""The workflows of the emulator: steps, processors, typed schemas, rules."""
