package sysread

import (
	"bytes"
	"strings"
)

// Virtualisation names what the system runs in: a container before the virtual machine around it. It is
// empty for a physical machine, and "vm" for a machine whose kind is not known. The words are those of
// systemd-detect-virt(1), except "hyperv".
func (t Tree) Virtualisation() string {
	if c := t.container(); c != "" {
		return c
	}
	return t.machine()
}

func (t Tree) container() string {
	if c := t.Line("run/systemd/container"); c != "" {
		return c
	}
	for entry := range bytes.SplitSeq(t.Bytes("proc/1/environ"), []byte{0}) { // root only
		if c, ok := strings.CutPrefix(string(entry), "container="); ok && c != "" {
			return Clean(c)
		}
	}
	kernel := strings.ToLower(t.Line("proc/sys/kernel/osrelease"))
	switch {
	case strings.Contains(kernel, "microsoft"), strings.Contains(kernel, "wsl"):
		return "wsl"
	case t.firstNamespaces():
		return ""
	case t.Exists("run/.containerenv"):
		return "podman"
	case t.Exists(".dockerenv"):
		return "docker"
	case t.Exists("proc/vz") && !t.Exists("proc/bc"):
		return "openvz"
	}
	groups := string(t.Bytes("proc/1/cgroup"))
	for _, mark := range []struct{ text, name string }{
		{"/docker/", "docker"}, {"/docker-", "docker"}, {"/kubepods", "docker"}, {"/libpod", "podman"}, {"/lxc/", "lxc"}, {"/lxc.payload", "lxc"},
	} {
		if strings.Contains(groups, mark.text) {
			return mark.name
		}
	}
	return ""
}

// firstNamespaces reports whether this process lives in the namespaces that the kernel began with (their
// numbers are fixed in include/linux/proc_ns.h): then no container is around it, whatever files the image
// of one has left on a disk that a virtual machine was booted from.
func (t Tree) firstNamespaces() bool {
	return t.Link("proc/self/ns/pid") == "pid:[4026531836]" && t.Link("proc/self/ns/uts") == "uts:[4026531838]"
}

// makers are beginnings of what firmware says where the machine is a virtual one.
var makers = []struct{ text, name string }{
	{"kvm", "kvm"}, {"openstack", "kvm"}, {"digitalocean", "kvm"}, {"hetzner", "kvm"}, {"kubevirt", "kvm"}, {"linode", "kvm"}, {"ahv", "kvm"}, {"rhev", "kvm"}, {"proxmox", "kvm"},
	{"qemu", "qemu"}, {"bochs", "bochs"}, {"seabios", "qemu"}, {"vmware", "vmware"}, {"vmw", "vmware"},
	{"innotek", "virtualbox"}, {"virtualbox", "virtualbox"}, {"oracle corporation virtualbox", "virtualbox"},
	{"xen", "xen"}, {"hvm domu", "xen"}, {"parallels", "parallels"}, {"bhyve", "bhyve"}, {"apple virtualization", "apple"},
	{"amazon ec2", "amazon"}, {"google compute engine", "google"}, {"google cloud", "google"}, {"alibaba cloud ecs", "kvm"},
}

func (t Tree) machine() string {
	product := strings.ToLower(t.Line("sys/class/dmi/id/product_name"))
	vendor := strings.ToLower(t.Line("sys/class/dmi/id/sys_vendor"))
	if strings.HasPrefix(product, "virtual machine") && strings.HasPrefix(vendor, "microsoft") {
		return "hyperv"
	}
	metal := strings.HasSuffix(product, ".metal") // Amazon's physical machines
	hypervisor := t.hypervisorFlag()
	for _, file := range []string{"product_name", "sys_vendor", "board_vendor", "bios_vendor"} {
		text := strings.ToLower(t.Line("sys/class/dmi/id/" + file))
		for _, m := range makers {
			if !metal && strings.HasPrefix(text, m.text) {
				// An emulated machine with hardware help is called after what helps.
				if m.name == "qemu" && (hypervisor || t.kvmClock()) {
					return "kvm"
				}
				return m.name
			}
		}
	}
	if strings.Contains(t.Line("sys/hypervisor/type"), "xen") {
		if strings.Contains(string(t.Bytes("proc/xen/capabilities")), "control_d") {
			return "" // the host itself
		}
		return "xen"
	}
	switch info := string(t.Bytes("proc/sysinfo")); { // s390x
	case strings.Contains(info, "KVM/Linux"):
		return "kvm"
	case strings.Contains(info, "z/VM"):
		return "zvm"
	}
	if strings.Contains(t.Line("proc/device-tree/hypervisor/compatible"), "kvm") || t.kvmClock() {
		return "kvm"
	}
	if hypervisor {
		return "vm"
	}
	return ""
}

func (t Tree) kvmClock() bool {
	return strings.Contains(t.Line("sys/devices/system/clocksource/clocksource0/available_clocksource"), "kvm-clock")
}

// hypervisorFlag is set by the processor of an x86 virtual machine.
func (t Tree) hypervisorFlag() bool {
	for line := range bytes.Lines(t.Bytes("proc/cpuinfo")) {
		if bytes.HasPrefix(line, []byte("flags")) {
			return bytes.Contains(append(bytes.TrimSpace(line), ' '), []byte(" hypervisor "))
		}
	}
	return false
}
