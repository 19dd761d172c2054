package protocol

// State is where an attempt, and so its deployment, stands. Within one attempt states never move
// backwards (Rank); StateWaiting does not move an attempt, it says why it does not go on.
type State string

// The states.
const (
	// Written by the server.
	StateAssigned   State = "assigned"   // made; not yet picked up
	StateCancelled  State = "cancelled"  // an admin ended it
	StateUnassigned State = "unassigned" // its assignment was taken back

	// Written by either side; Reason says why, the timeline says until when.
	StateWaiting State = "waiting"

	// Reported by the device.
	StateAccepted      State = "accepted"       // task journalled on the device
	StateFetching      State = "fetching"       // instruction verified, fragments on their way
	StateFetched       State = "fetched"        // all fragments there and verified
	StateUnpacked      State = "unpacked"       //
	StateStarted       State = "started"        // journalled right before the command starts
	StateSucceeded     State = "succeeded"      // final
	StateFailed        State = "failed"         // final for the attempt: exit code, time limit, detection, environment
	StateRefused       State = "refused"        // final: untrusted, hostile or not allowed
	StateExpired       State = "expired"        // final for the attempt: must be signed again
	StateInterrupted   State = "interrupted"    // final: the device cannot tell how the command ended
	StateNotApplicable State = "not_applicable" // final: requirements not met
)

// Rank orders the states of one attempt; final states share the highest rank.
func (s State) Rank() int {
	switch s {
	case StateAssigned, StateWaiting:
		return 0
	case StateAccepted:
		return 1
	case StateFetching:
		return 2
	case StateFetched:
		return 3
	case StateUnpacked:
		return 4
	case StateStarted:
		return 5
	case StateSucceeded, StateFailed, StateRefused, StateExpired, StateInterrupted, StateNotApplicable,
		StateCancelled, StateUnassigned:
		return 10
	default:
		return -1
	}
}

// Final reports whether an attempt in this state is over.
func (s State) Final() bool { return s.Rank() == 10 }

// FromDevice reports whether a device may report the state.
func (s State) FromDevice() bool {
	switch s {
	case StateAssigned, StateCancelled, StateUnassigned:
		return false
	default:
		return s.Rank() >= 0
	}
}

// Reason says why a state was entered, for machines. Reasons are added, never renamed.
type Reason string

// The reasons.
const (
	// succeeded
	ReasonExitCode         Reason = "exit_code" // also failed
	ReasonStored           Reason = "stored"
	ReasonAlreadyInstalled Reason = "already_installed"
	ReasonRebootNeeded     Reason = "reboot_needed"

	// failed
	ReasonTimeLimit   Reason = "time_limit"
	ReasonSignal      Reason = "signal"
	ReasonCannotStart Reason = "cannot_start" // the command could not be started
	ReasonNotDetected Reason = "not_detected" // ran, but the detection rule is not true after it
	ReasonRetryLater  Reason = "retry_later"  // the exit code asks for another try
	ReasonDeviceError Reason = "device_error" // disk, permission or another fault of the device
	ReasonStorePath   Reason = "store_path"   // the path or a parent is not safe to write under

	// of tasks that are not deployments
	ReasonDone        Reason = "done"         // succeeded: all of it
	ReasonItems       Reason = "items"        // failed: some of its items did
	ReasonNotReported Reason = "not_reported" // refused: names what this device has not reported

	// of updates; failed: the old agent runs
	ReasonOlderVersion Reason = "older_version" // refused: below the version that runs, without a signed allowance
	ReasonProbation    Reason = "probation"     // the new agent did not check in within its time
	ReasonCrashed      Reason = "crashed"       // the new agent ended before it had checked in

	// of modules
	ReasonParameters Reason = "parameters" // refused: the module's schema does not allow them
	ReasonNoModule   Reason = "no_module"  // refused: there is no module of the name, or it is not safe to run
	ReasonMemory     Reason = "memory"     // failed: it was over its memory limit
	ReasonRows       Reason = "rows"       // failed: what it wrote are no rows of its columns, or too many

	// refused
	ReasonSignature   Reason = "signature_invalid" // no valid signature of a trusted key with the role
	ReasonRole        Reason = "key_role"          // signed by a trusted key whose role does not sign this
	ReasonThreshold   Reason = "below_threshold"   // valid signatures, but too few
	ReasonPayloadType Reason = "payload_type"      //
	ReasonMalformed   Reason = "malformed"         // signed bytes are not a well-formed document
	ReasonCritical    Reason = "unknown_critical"  // needs a feature this agent does not implement
	ReasonSerial      Reason = "older_serial"      // older than one already accepted of this name
	ReasonMismatch    Reason = "mismatch"          // the document is of another package or envelope digest differs
	ReasonRevoked     Reason = "revoked"           // revoked by the trust document
	ReasonDigest      Reason = "digest_mismatch"   // fragment or archive bytes differ from what is signed
	ReasonArchive     Reason = "archive_refused"   // hostile or damaged archive
	ReasonNotAllowed  Reason = "not_allowed"       // the device's own configuration denies it
	ReasonUnknownTask Reason = "unknown_task"      // a kind of task this agent does not know
	ReasonTrust       Reason = "trust_invalid"     // no acceptable trust document; also waiting, until there is one

	// waiting
	ReasonHeldByPriority0 Reason = "held_by_priority_0"
	ReasonRetryBackoff    Reason = "retry_backoff"
	ReasonSignAgain       Reason = "sign_again"
	ReasonDiskSpace       Reason = "disk_space"
	ReasonStalled         Reason = "stalled" // no bytes for the stall limit; goes on later
	ReasonBusy            Reason = "busy"    // another change of this computer is running
	ReasonCleanBoot       Reason = "clean_boot"
	ReasonNotActive       Reason = "package_not_active"
	ReasonDevicePending   Reason = "device_pending"
	ReasonRestarted       Reason = "agent_restarted"
	ReasonReleased        Reason = "released" // nothing holds it back any more

	ReasonDeviceQuarantined Reason = "device_quarantined"

	// interrupted
	ReasonNoStatus Reason = "no_status" // began, but its end was not recorded

	// not_applicable
	ReasonRequirements Reason = "requirements"

	// server side
	ReasonByAdmin Reason = "by_admin"
	ReasonRetired Reason = "package_retired"
	ReasonRetry   Reason = "retry" // a new attempt

	ReasonDeviceRemoved Reason = "device_removed"
)
