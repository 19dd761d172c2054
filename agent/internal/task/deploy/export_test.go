package deploy

// Outcome is the exit code table, for tests of codes that no process of this system can exit with.
var Outcome = outcome
