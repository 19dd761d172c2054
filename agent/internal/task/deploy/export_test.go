package deploy

// Outcome is the exit code table, for tests of codes that no process of this system can exit with.
var Outcome = outcome

// DiskSpace is how the task looks at a disk.
var DiskSpace = diskSpace
