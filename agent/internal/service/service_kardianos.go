//go:build !linux

package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/kardianos/service"

	"github.com/muster/muster/packages/fault"
)

// program is the agent as the service manager sees it.
type program struct {
	ctx    context.Context
	run    func(context.Context) error
	cancel context.CancelFunc
	done   chan error
}

// Start begins the agent's work and returns at once, as service managers want it.
func (p *program) Start(s service.Service) error {
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(p.ctx)
	go func() {
		err := p.run(ctx)
		p.done <- err
		if ctx.Err() == nil {
			_ = s.Stop() // it ended by itself; the manager starts it again unless it was removed
		}
	}()
	return nil
}

// Stop ends the agent's work.
func (p *program) Stop(service.Service) error {
	p.cancel()
	return nil
}

func runAs(ctx context.Context, run func(context.Context) error) error {
	if service.Interactive() {
		return run(ctx)
	}
	p := &program{ctx: ctx, run: run, done: make(chan error, 1)}
	s, err := service.New(p, configOf(Options{}))
	if err != nil {
		return fmt.Errorf("speak to the service manager: %w", err)
	}
	if err := s.Run(); err != nil {
		return fmt.Errorf("run as a service: %w", err)
	}
	return <-p.done
}

func configOf(o Options) *service.Config {
	args := []string{"run"}
	if o.Data != "" && !o.Default {
		args = append(args, "--data", o.Data)
	}
	return &service.Config{
		Name: Name, DisplayName: "Muster agent", Description: "Inventory and software deployment",
		Executable: o.Program, Arguments: args,
		Option: service.KeyValue{"KeepAlive": true, "RunAtLoad": true, "OnFailure": "restart", "OnFailureDelayDuration": "15s"},
	}
}

func handle(o Options) (service.Service, error) { return service.New(&program{}, configOf(o)) }

func install(_ context.Context, o Options) error {
	s, err := handle(o)
	if err != nil {
		return err
	}
	if _, err := s.Status(); err == nil {
		return fault.New(fault.Conflict, "there is a service %s already; remove it first", Name)
	}
	if err := s.Install(); err != nil {
		return err
	}
	return s.Start()
}

func uninstall(_ context.Context, o Options) error {
	s, err := handle(o)
	if err != nil {
		return err
	}
	if _, err := s.Status(); errors.Is(err, service.ErrNotInstalled) {
		return nil
	}
	_ = s.Stop() // it may have ended by itself; if it runs, Uninstall says so
	return s.Uninstall()
}

// owns trusts the name: these systems do not tell what a service was made of.
func owns(_ context.Context, o Options) bool {
	s, err := handle(o)
	if err != nil {
		return false
	}
	_, err = s.Status()
	return o.Default && err == nil
}

func start(context.Context) error {
	s, err := handle(Options{})
	if err != nil {
		return err
	}
	return s.Start()
}

func stop(context.Context) error {
	s, err := handle(Options{})
	if err != nil {
		return err
	}
	if _, err := s.Status(); errors.Is(err, service.ErrNotInstalled) {
		return nil
	}
	return s.Stop()
}

func status(context.Context) (State, error) {
	s, err := handle(Options{})
	if err != nil {
		return "", err
	}
	switch state, err := s.Status(); {
	case errors.Is(err, service.ErrNotInstalled):
		return Absent, nil
	case err != nil:
		return "", err
	case state == service.StatusRunning:
		return Running, nil
	default:
		return Stopped, nil
	}
}
