"""What the emulator keeps: runs and files, what was asked, the faults and limits that are left."""
