//! Faults from outside: kills, full and failing disks, torn files, signals.
