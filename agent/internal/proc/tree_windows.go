package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// tree is a started process and everything that comes from it, held together by a job object. A task's
// job ends with the agent and lets runners go; the job of a runner's command is only used at the time
// limit.
type tree struct {
	job windows.Handle
}

func prepareRunner() error { return nil }

// sealDescriptors has nothing to do: handles are passed on only when named.
func sealDescriptors() {}

func selfPath() (string, error) { return os.Executable() }

func startTree(cmd *exec.Cmd, opts treeOptions) (*tree, error) {
	job, err := newJob(opts)
	if err != nil {
		return nil, err
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// Suspended, so that it cannot start anything before it is in the job.
	flags := uint32(windows.CREATE_SUSPENDED | windows.CREATE_NEW_PROCESS_GROUP | windows.CREATE_NO_WINDOW)
	cmd.SysProcAttr.CreationFlags |= flags | priorityClass(opts.priority)
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, windows.CloseHandle(job))
	}
	if err := adopt(job, uint32(cmd.Process.Pid), opts.priority); err != nil {
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait(), windows.CloseHandle(job))
	}
	return &tree{job: job}, nil
}

func newJob(opts treeOptions) (windows.Handle, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, fmt.Errorf("make job object: %w", err)
	}
	if opts.priority != idle && opts.priority != idleThatStarts && !opts.leashed {
		return job, nil // nothing is killed when the runner, or a short command's caller, lets go of the job
	}
	var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	info.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE |
		windows.JOB_OBJECT_LIMIT_BREAKAWAY_OK
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	if err != nil {
		return 0, errors.Join(fmt.Errorf("set up job object: %w", err), windows.CloseHandle(job))
	}
	return job, nil
}

// adopt puts a suspended process into the job and lets it run.
func adopt(job windows.Handle, pid uint32, p priority) error {
	process, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE|windows.PROCESS_SET_INFORMATION, false, pid)
	if err != nil {
		return fmt.Errorf("open process: %w", err)
	}
	setIOPriority(process, p)
	err = windows.AssignProcessToJobObject(job, process)
	if closeErr := windows.CloseHandle(process); err != nil || closeErr != nil {
		return fmt.Errorf("assign process to job object: %w", errors.Join(err, closeErr))
	}
	return resume(pid)
}

func resume(pid uint32) error {
	snapshot, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPTHREAD, 0)
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	defer windows.CloseHandle(snapshot)
	entry := windows.ThreadEntry32{Size: uint32(unsafe.Sizeof(windows.ThreadEntry32{}))}
	for err = windows.Thread32First(snapshot, &entry); err == nil; err = windows.Thread32Next(snapshot, &entry) {
		if entry.OwnerProcessID != pid {
			continue
		}
		thread, err := windows.OpenThread(windows.THREAD_SUSPEND_RESUME, false, entry.ThreadID)
		if err != nil {
			return fmt.Errorf("open thread: %w", err)
		}
		_, err = windows.ResumeThread(thread)
		return errors.Join(err, windows.CloseHandle(thread))
	}
	return fmt.Errorf("find the main thread of process %d: %w", pid, err)
}

// terminate reports that asking makes no sense: a process without a console cannot be asked to end.
func (t *tree) terminate() bool { return false }

func (t *tree) kill() { _ = windows.TerminateJobObject(t.job, 1) }

// accounting is JOBOBJECT_BASIC_ACCOUNTING_INFORMATION.
type accounting struct {
	times     [4]int64
	faults    uint32
	processes uint32
	active    uint32
	ended     uint32
}

func (t *tree) alive() bool {
	const basicAccounting = 1
	var info accounting
	err := windows.QueryInformationJobObject(t.job, basicAccounting, uintptr(unsafe.Pointer(&info)),
		uint32(unsafe.Sizeof(info)), nil)
	return err == nil && info.active > 0
}

// prepareProgram has nothing to do: handles are passed on only when named.
func prepareProgram() error { return nil }

// memoryTick is how often the memory of a program is looked at.
const memoryTick = time.Second

// memory cannot be told yet: programs from outside are not run on Windows.
func (t *tree) memory() (int64, bool) { return 0, false }

func (t *tree) outOfMemory() bool { return false }

func (t *tree) close() { _ = windows.CloseHandle(t.job) }

// endChildren has nothing to do: they are in the task's job, which ends with it.
func endChildren() {}
