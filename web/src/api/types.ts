// The shapes of the admin API (/api/v1).

export interface Page<T> {
  items: T[];
  next?: string;
}

export interface Problem {
  title?: string;
  status?: number;
  detail?: string;
  code?: string;
  errors?: { field?: string; message?: string }[] | null;
}

export interface Me {
  username: string;
  kind: string;
}

export interface Server {
  name: string;
  version: string;
  urls: string[];
  ca_fingerprint: string;
  root_fingerprint: string;
  server_can_sign: boolean;
  started_at: string;
}

export interface Trust {
  version: number;
  root_fingerprint: string;
  server_can_sign: boolean;
  keys: { id: string; roles: string[]; added_at?: string }[];
  thresholds: Record<string, number>;
  envelope: string;
}

export interface ApiToken {
  id: string;
  name: string;
  created_at: string;
  last_used_at?: string;
  expires_at?: string;
  token?: string;
}

export interface EnrollmentToken {
  id: string;
  name: string;
  uses: number;
  max_uses: number;
  expires_at: string;
  needs_approval: boolean;
  revoked: boolean;
  created_at: string;
  token?: string;
  enrollment?: string;
}

export type DeviceState = "pending" | "active" | "quarantined" | "revoked";

export interface Device {
  id: string;
  hostname: string;
  state: string;
  quarantine_reason?: string;
  os: string;
  os_name: string;
  os_version: string;
  arch: string;
  agent_version: string;
  connected: boolean;
  last_seen_at?: string;
  enrolled_at: string;
  ips?: string[] | null;
  open_deployments: number;
  facts?: Facts;
}

export interface Facts {
  kernel?: string;
  cpu?: string;
  cores?: number;
  memory_bytes?: number;
  machine_id?: string;
  timezone?: string;
  ips?: string[] | null;
  macs?: string[] | null;
  booted_at?: string;
  privileged?: boolean;
  changed_at?: string;
  tasks_allowed?: string[] | null;
}

export interface ArchiveEntry {
  name: string;
  size: number;
  dir?: boolean;
  executable?: boolean;
}

export interface UploadArchive {
  format: string;
  size: number;
  sha256: string;
  fragments: number;
  entries: ArchiveEntry[] | null;
  entries_total: number;
}

export interface Upload {
  id: string;
  file_name: string;
  size: number;
  offset: number;
  state: string;
  fragment_size: number;
  created_at: string;
  archive?: UploadArchive;
}

export type Action = "launch" | "execute" | "store";

export interface ExitCode {
  code: number;
  outcome: "success" | "reboot" | "retry" | "failure";
}

export interface Detection {
  software?: { name: string; version?: string };
  file?: { path: string; sha256?: string };
  command?: string[];
}

export interface Requirements {
  os?: string[];
  arch?: string[];
  min_disk_bytes?: number;
  min_memory_bytes?: number;
  min_agent?: string;
}

export interface Retry {
  attempts: number;
  delay_seconds: number;
}

export interface PackageSpec {
  name: string;
  version: string;
  priority: number;
  action: Action;
  upload_id?: string;
  command?: string[];
  store_path?: string;
  time_limit_seconds?: number;
  env?: Record<string, string>;
  exit_codes?: ExitCode[];
  detect?: Detection;
  requires?: Requirements;
  retry?: Retry;
  rerun?: "never" | "safe";
  needs_clean_boot?: boolean;
  private?: boolean;
}

export interface Package extends Omit<PackageSpec, "upload_id"> {
  id: string;
  state: string;
  signed: boolean;
  signed_by?: string[] | null;
  issued_at?: string;
  expires_at?: string;
  instruction_digest?: string;
  archive?: { format: string; size: number; sha256: string; fragments: number };
  created_at: string;
  created_by: string;
  activated_at?: string;
  retired_at?: string;
  deployments: { total: number; succeeded: number; failed: number; open: number };
}

export interface Assignment {
  id: string;
  package_id: string;
  package_name: string;
  package_version: string;
  device_count: number;
  not_before?: string;
  created_at: string;
  created_by: string;
  unassigned_at?: string;
}

export interface Progress {
  done: number;
  total: number;
}

export interface TimelineEntry {
  seq: number;
  time: string;
  source: string;
  attempt: number;
  state: string;
  reason?: string;
  message: string;
  exit_code?: number;
  output?: string;
  next_at?: string;
  waits_for?: string;
}

export interface Deployment {
  id: string;
  package_id: string;
  package_name: string;
  package_version: string;
  priority: number;
  device_id: string;
  hostname: string;
  assignment_id: string;
  state: string;
  reason?: string;
  summary: string;
  waits_for?: string;
  blocks?: boolean;
  attempt: number;
  exit_code?: number;
  output?: string;
  not_before?: string;
  created_at: string;
  updated_at: string;
  finished_at?: string;
  progress?: Progress;
  timeline?: TimelineEntry[] | null;
}

export interface AuditEntry {
  id: string;
  time: string;
  actor: string;
  actor_kind: string;
  operation: string;
  target: string;
  status: number;
  remote_ip: string;
  details?: Record<string, string> | null;
}

export interface LiveEvent {
  type: string;
  id: string;
  device_id?: string;
  package_id?: string;
  progress?: Progress;
}
