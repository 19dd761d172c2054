CREATE TABLE `api_tokens` (
  `id` char(36) NOT NULL,
  `user_id` char(36) NOT NULL,
  `name` varchar(120) NOT NULL,
  `hash` char(64) NOT NULL,
  `created_at` datetime(3) NOT NULL,
  `last_used_at` datetime(3) DEFAULT NULL,
  `expires_at` datetime(3) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `idx_api_tokens_hash` (`hash`),
  KEY `idx_api_tokens_user_id` (`user_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `assignments` (
  `id` char(36) NOT NULL,
  `package_id` char(36) NOT NULL,
  `package_name` varchar(120) NOT NULL,
  `package_version` varchar(64) NOT NULL,
  `all_devices` tinyint(1) NOT NULL,
  `device_count` bigint(20) NOT NULL,
  `not_before` datetime(3) DEFAULT NULL,
  `created_by` varchar(120) NOT NULL,
  `created_at` datetime(3) NOT NULL,
  `unassigned_at` datetime(3) DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `idx_assignments_package` (`package_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `audit_entries` (
  `id` char(36) NOT NULL,
  `time` datetime(3) NOT NULL,
  `actor` varchar(120) NOT NULL,
  `actor_kind` varchar(20) NOT NULL,
  `operation` varchar(120) NOT NULL,
  `target` varchar(255) NOT NULL,
  `status` bigint(20) NOT NULL,
  `remote_ip` varchar(64) NOT NULL,
  `details` text NOT NULL,
  PRIMARY KEY (`id`),
  KEY `idx_audit_entries_time` (`time`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `blob_refs` (
  `owner_id` char(36) NOT NULL,
  `seq` bigint(20) NOT NULL,
  `sha256` char(64) NOT NULL,
  `length` bigint(20) NOT NULL,
  PRIMARY KEY (`owner_id`,`seq`),
  KEY `idx_blob_refs_sha256` (`sha256`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `blobs` (
  `sha256` char(64) NOT NULL,
  `size` bigint(20) NOT NULL,
  `claimed_at` datetime(3) NOT NULL,
  PRIMARY KEY (`sha256`),
  KEY `idx_blobs_claimed_at` (`claimed_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `deployment_attempts` (
  `id` char(36) NOT NULL,
  `deployment_id` char(36) NOT NULL,
  `number` bigint(20) NOT NULL,
  `state` varchar(20) NOT NULL,
  `last_report` varchar(36) NOT NULL,
  `result_report` varchar(36) NOT NULL,
  `instruction` varchar(64) NOT NULL,
  `reports` bigint(20) NOT NULL,
  `exit_code` bigint(20) DEFAULT NULL,
  `signal` varchar(40) NOT NULL,
  `output` mediumtext NOT NULL,
  `output_bytes` bigint(20) NOT NULL,
  `duration_ms` bigint(20) NOT NULL,
  `files` bigint(20) NOT NULL,
  `bytes` bigint(20) NOT NULL,
  `created_at` datetime(3) NOT NULL,
  `finished_at` datetime(3) DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `idx_deployment_attempts_deployment` (`deployment_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `deployment_timeline` (
  `deployment_id` char(36) NOT NULL,
  `seq` bigint(20) NOT NULL,
  `report_id` char(36) DEFAULT NULL,
  `device_id` char(36) NOT NULL,
  `time` datetime(3) NOT NULL,
  `received_at` datetime(3) NOT NULL,
  `source` varchar(20) NOT NULL,
  `attempt` bigint(20) NOT NULL,
  `state` varchar(20) NOT NULL,
  `reason` varchar(40) NOT NULL,
  `message` varchar(2048) NOT NULL,
  `exit_code` bigint(20) DEFAULT NULL,
  `next_at` datetime(3) DEFAULT NULL,
  `waits_for` varchar(255) NOT NULL,
  PRIMARY KEY (`deployment_id`,`seq`),
  UNIQUE KEY `idx_deployment_timeline_report` (`report_id`,`device_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `deployments` (
  `id` char(36) NOT NULL,
  `assignment_id` char(36) NOT NULL,
  `device_id` char(36) NOT NULL,
  `hostname` varchar(255) NOT NULL,
  `package_id` char(36) NOT NULL,
  `package_name` varchar(120) NOT NULL,
  `package_version` varchar(64) NOT NULL,
  `priority` bigint(20) NOT NULL,
  `instruction` char(64) NOT NULL,
  `retry_attempts` bigint(20) NOT NULL,
  `retry_delay_seconds` bigint(20) NOT NULL,
  `rerun_safe` tinyint(1) NOT NULL,
  `state` varchar(20) NOT NULL,
  `reason` varchar(40) NOT NULL,
  `message` varchar(2048) NOT NULL,
  `waits_for` varchar(255) NOT NULL,
  `live` tinyint(1) NOT NULL,
  `live_key` varchar(80) DEFAULT NULL,
  `attempt` bigint(20) NOT NULL,
  `attempt_id` char(36) NOT NULL,
  `failures` bigint(20) NOT NULL,
  `exit_code` bigint(20) DEFAULT NULL,
  `signal` varchar(40) NOT NULL,
  `not_before` datetime(3) DEFAULT NULL,
  `timeline_seq` bigint(20) NOT NULL,
  `created_at` datetime(3) NOT NULL,
  `updated_at` datetime(3) NOT NULL,
  `finished_at` datetime(3) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `idx_deployments_live_key` (`live_key`),
  KEY `idx_deployments_assignment` (`assignment_id`),
  KEY `idx_deployments_device` (`device_id`,`live`),
  KEY `idx_deployments_package` (`package_id`,`state`),
  KEY `idx_deployments_due` (`live`,`not_before`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `device_footprints` (
  `device_id` char(36) NOT NULL,
  `reported_at` datetime(3) NOT NULL,
  `since` datetime(3) NOT NULL,
  `cpu_ms` bigint(20) NOT NULL,
  `rss_bytes` bigint(20) NOT NULL,
  `rss_high_bytes` bigint(20) NOT NULL,
  `task_high_bytes` bigint(20) NOT NULL,
  `sent_bytes` bigint(20) NOT NULL,
  `received_bytes` bigint(20) NOT NULL,
  PRIMARY KEY (`device_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `device_software` (
  `device_id` char(36) NOT NULL,
  `software_key` varchar(512) NOT NULL,
  `title_id` bigint(20) NOT NULL,
  `version_id` bigint(20) NOT NULL,
  `size_bytes` bigint(20) NOT NULL,
  `installed_at` datetime(3) DEFAULT NULL,
  `arch` varchar(40) NOT NULL,
  `essential` tinyint(1) NOT NULL,
  `defect` varchar(120) NOT NULL,
  `first_seen_at` datetime(3) NOT NULL,
  PRIMARY KEY (`device_id`,`software_key`),
  UNIQUE KEY `idx_device_software_title` (`title_id`,`device_id`,`software_key`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `devices` (
  `id` char(36) NOT NULL,
  `state` varchar(20) NOT NULL,
  `hostname` varchar(255) NOT NULL,
  `os` varchar(40) NOT NULL,
  `os_name` varchar(255) NOT NULL,
  `os_version` varchar(120) NOT NULL,
  `arch` varchar(40) NOT NULL,
  `agent_version` varchar(64) NOT NULL,
  `nonce` char(64) NOT NULL,
  `secret_sha256` char(64) NOT NULL,
  `next_sha256` varchar(64) NOT NULL,
  `machine_id` varchar(128) NOT NULL,
  `seen_machine_id` varchar(128) NOT NULL,
  `instance_id` varchar(64) NOT NULL,
  `past_instances` varchar(1024) NOT NULL,
  `quarantine_reason` varchar(500) NOT NULL,
  `trust_version` bigint(20) NOT NULL,
  `facts` mediumtext NOT NULL,
  `facts_changed_at` datetime(3) NOT NULL,
  `token_id` char(36) NOT NULL,
  `enrolled_from` varchar(64) NOT NULL,
  `enrolled_at` datetime(3) NOT NULL,
  `last_seen_at` datetime(3) DEFAULT NULL,
  `updated_at` datetime(3) NOT NULL,
  `previous_sha256` varchar(64) NOT NULL DEFAULT '',
  `seen_secret_sha256` varchar(64) NOT NULL DEFAULT '',
  `open_tasks` bigint(20) NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`),
  UNIQUE KEY `idx_devices_nonce` (`nonce`),
  KEY `idx_devices_state` (`state`),
  KEY `idx_devices_hostname` (`hostname`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `enrollment_tokens` (
  `id` char(36) NOT NULL,
  `name` varchar(120) NOT NULL,
  `secret_sha256` char(64) NOT NULL,
  `uses` bigint(20) NOT NULL,
  `max_uses` bigint(20) NOT NULL,
  `needs_approval` tinyint(1) NOT NULL,
  `expires_at` datetime(3) NOT NULL,
  `revoked_at` datetime(3) DEFAULT NULL,
  `created_by` varchar(120) NOT NULL,
  `created_at` datetime(3) NOT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `idx_enrollment_tokens_secret` (`secret_sha256`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `event_conditions` (
  `device_id` char(36) NOT NULL,
  `kind` varchar(40) NOT NULL,
  `subject` varchar(255) NOT NULL,
  `since` datetime(3) NOT NULL,
  PRIMARY KEY (`device_id`,`kind`,`subject`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `events` (
  `id` char(36) NOT NULL,
  `time` datetime(3) NOT NULL,
  `device_id` char(36) NOT NULL,
  `hostname` varchar(255) NOT NULL,
  `kind` varchar(40) NOT NULL,
  `section` varchar(40) NOT NULL,
  `subject` varchar(255) NOT NULL,
  `former` varchar(500) NOT NULL,
  `present` varchar(500) NOT NULL,
  `message` varchar(1000) NOT NULL,
  PRIMARY KEY (`id`),
  KEY `idx_events_device` (`device_id`,`id`),
  KEY `idx_events_kind` (`kind`,`id`),
  KEY `idx_events_time` (`time`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `inventory_sections` (
  `device_id` char(36) NOT NULL,
  `section` varchar(40) NOT NULL,
  `sha256` varchar(64) NOT NULL,
  `cleaning` bigint(20) NOT NULL,
  `content` mediumblob NOT NULL,
  `row_count` bigint(20) NOT NULL,
  `problem` varchar(1000) NOT NULL,
  `remark` varchar(1000) NOT NULL,
  `named_at` datetime(3) NOT NULL,
  `collected_at` datetime(3) DEFAULT NULL,
  `received_at` datetime(3) DEFAULT NULL,
  PRIMARY KEY (`device_id`,`section`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `migrations` (
  `id` varchar(120) NOT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `packages` (
  `id` char(36) NOT NULL,
  `name` varchar(120) NOT NULL,
  `version` varchar(64) NOT NULL,
  `live_key` char(64) DEFAULT NULL,
  `priority` bigint(20) NOT NULL,
  `action` varchar(20) NOT NULL,
  `state` varchar(20) NOT NULL,
  `spec` mediumtext NOT NULL,
  `archive_format` varchar(20) NOT NULL,
  `archive_size` bigint(20) NOT NULL,
  `archive_sha256` varchar(64) NOT NULL,
  `archive_fragments` bigint(20) NOT NULL,
  `serial` bigint(20) NOT NULL,
  `instruction_digest` varchar(64) NOT NULL,
  `signed_by` text NOT NULL,
  `private` tinyint(1) NOT NULL,
  `issued_at` datetime(3) DEFAULT NULL,
  `expires_at` datetime(3) DEFAULT NULL,
  `created_by` varchar(120) NOT NULL,
  `created_at` datetime(3) NOT NULL,
  `updated_at` datetime(3) NOT NULL,
  `activated_at` datetime(3) DEFAULT NULL,
  `retired_at` datetime(3) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `idx_packages_live_key` (`live_key`),
  KEY `idx_packages_name` (`name`),
  KEY `idx_packages_state` (`state`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `sessions` (
  `token` varchar(64) NOT NULL,
  `data` longblob NOT NULL,
  `expiry` datetime(3) NOT NULL,
  PRIMARY KEY (`token`),
  KEY `idx_sessions_expiry` (`expiry`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `software_history` (
  `id` char(36) NOT NULL,
  `device_id` char(36) NOT NULL,
  `title_id` bigint(20) NOT NULL,
  `kind` varchar(20) NOT NULL,
  `from_version` varchar(255) NOT NULL,
  `to_version` varchar(255) NOT NULL,
  `arch` varchar(40) NOT NULL,
  `time` datetime(3) NOT NULL,
  PRIMARY KEY (`id`),
  KEY `idx_software_history_device` (`device_id`,`id`),
  KEY `idx_software_history_title` (`title_id`,`id`),
  KEY `idx_software_history_time` (`time`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `software_titles` (
  `id` bigint(20) NOT NULL AUTO_INCREMENT,
  `identity` char(64) NOT NULL,
  `source` varchar(40) NOT NULL,
  `purl` varchar(512) NOT NULL,
  `name` varchar(255) NOT NULL,
  `publisher` varchar(255) NOT NULL,
  `summary` varchar(500) NOT NULL,
  `devices` bigint(20) NOT NULL,
  `first_seen_at` datetime(3) NOT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `idx_software_titles_identity` (`identity`),
  KEY `idx_software_titles_name` (`name`),
  KEY `idx_software_titles_devices` (`devices`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `software_versions` (
  `id` bigint(20) NOT NULL AUTO_INCREMENT,
  `identity` char(64) NOT NULL,
  `title_id` bigint(20) NOT NULL,
  `version` varchar(255) NOT NULL,
  `devices` bigint(20) NOT NULL,
  `first_seen_at` datetime(3) NOT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `idx_software_versions_identity` (`identity`),
  KEY `idx_software_versions_title` (`title_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `task_timeline` (
  `task_id` char(36) NOT NULL,
  `seq` bigint(20) NOT NULL,
  `report_id` char(36) DEFAULT NULL,
  `device_id` char(36) NOT NULL,
  `time` datetime(3) NOT NULL,
  `received_at` datetime(3) NOT NULL,
  `source` varchar(20) NOT NULL,
  `state` varchar(20) NOT NULL,
  `reason` varchar(40) NOT NULL,
  `message` varchar(2048) NOT NULL,
  `next_at` datetime(3) DEFAULT NULL,
  PRIMARY KEY (`task_id`,`seq`),
  UNIQUE KEY `idx_task_timeline_report` (`report_id`,`device_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `tasks` (
  `id` char(36) NOT NULL,
  `device_id` char(36) NOT NULL,
  `hostname` varchar(255) NOT NULL,
  `kind` varchar(20) NOT NULL,
  `batch_id` char(36) NOT NULL,
  `input` mediumtext NOT NULL,
  `state` varchar(20) NOT NULL,
  `reason` varchar(40) NOT NULL,
  `message` varchar(2048) NOT NULL,
  `items` mediumtext NOT NULL,
  `live` tinyint(1) NOT NULL,
  `reached` varchar(20) NOT NULL,
  `last_report` varchar(36) NOT NULL,
  `reports` bigint(20) NOT NULL,
  `next_try` datetime(3) DEFAULT NULL,
  `timeline_seq` bigint(20) NOT NULL,
  `created_by` varchar(120) NOT NULL,
  `created_at` datetime(3) NOT NULL,
  `updated_at` datetime(3) NOT NULL,
  `finished_at` datetime(3) DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `idx_tasks_device` (`device_id`,`live`),
  KEY `idx_tasks_batch` (`batch_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `trust_documents` (
  `version` bigint(20) NOT NULL,
  `envelope` mediumtext NOT NULL,
  `created_at` datetime(3) NOT NULL,
  PRIMARY KEY (`version`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `uploads` (
  `id` char(36) NOT NULL,
  `file_name` varchar(255) NOT NULL,
  `size` bigint(20) NOT NULL,
  `fragment_size` bigint(20) NOT NULL,
  `received` bigint(20) NOT NULL,
  `fragments` bigint(20) NOT NULL,
  `hash_state` varbinary(255) DEFAULT NULL,
  `state` varchar(20) NOT NULL,
  `format` varchar(20) NOT NULL,
  `sha256` varchar(64) NOT NULL,
  `entries` mediumtext NOT NULL,
  `entries_total` bigint(20) NOT NULL,
  `created_by` varchar(120) NOT NULL,
  `created_at` datetime(3) NOT NULL,
  `updated_at` datetime(3) NOT NULL,
  PRIMARY KEY (`id`),
  KEY `idx_uploads_updated_at` (`updated_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `users` (
  `id` char(36) NOT NULL,
  `username` varchar(120) NOT NULL,
  `password_hash` varchar(255) NOT NULL,
  `sessions_from` datetime(3) NOT NULL,
  `created_at` datetime(3) NOT NULL,
  `updated_at` datetime(3) NOT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `idx_users_username` (`username`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO `migrations` (`id`) VALUES ('0001_users');
INSERT INTO `migrations` (`id`) VALUES ('0002_sessions');
INSERT INTO `migrations` (`id`) VALUES ('0003_api_tokens');
INSERT INTO `migrations` (`id`) VALUES ('0004_audit_entries');
INSERT INTO `migrations` (`id`) VALUES ('0010_trust_documents');
INSERT INTO `migrations` (`id`) VALUES ('0011_blobs');
INSERT INTO `migrations` (`id`) VALUES ('0012_blob_refs');
INSERT INTO `migrations` (`id`) VALUES ('0013_uploads');
INSERT INTO `migrations` (`id`) VALUES ('0014_packages');
INSERT INTO `migrations` (`id`) VALUES ('0020_enrollment_tokens');
INSERT INTO `migrations` (`id`) VALUES ('0021_devices');
INSERT INTO `migrations` (`id`) VALUES ('0022_assignments');
INSERT INTO `migrations` (`id`) VALUES ('0023_deployments');
INSERT INTO `migrations` (`id`) VALUES ('0024_deployment_attempts');
INSERT INTO `migrations` (`id`) VALUES ('0025_deployment_timeline');
INSERT INTO `migrations` (`id`) VALUES ('0026_devices_previous_secret');
INSERT INTO `migrations` (`id`) VALUES ('0027_devices_seen_secret');
INSERT INTO `migrations` (`id`) VALUES ('0050_tasks');
INSERT INTO `migrations` (`id`) VALUES ('0051_task_timeline');
INSERT INTO `migrations` (`id`) VALUES ('0052_devices_open_tasks');
INSERT INTO `migrations` (`id`) VALUES ('0053_device_footprints');
INSERT INTO `migrations` (`id`) VALUES ('0060_inventory_sections');
INSERT INTO `migrations` (`id`) VALUES ('0061_software_titles');
INSERT INTO `migrations` (`id`) VALUES ('0062_software_versions');
INSERT INTO `migrations` (`id`) VALUES ('0063_device_software');
INSERT INTO `migrations` (`id`) VALUES ('0064_software_history');
INSERT INTO `migrations` (`id`) VALUES ('0070_events');
INSERT INTO `migrations` (`id`) VALUES ('0071_event_conditions');
INSERT INTO `api_tokens` (`id`,`user_id`,`name`,`hash`,`created_at`,`last_used_at`,`expires_at`) VALUES ('id-0','user_id-0','name-0','hash-0','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678');
INSERT INTO `api_tokens` (`id`,`user_id`,`name`,`hash`,`created_at`,`last_used_at`,`expires_at`) VALUES ('id-1','user_id-1','name-1','hash-1','2026-01-02T03:04:05.678',NULL,NULL);
INSERT INTO `assignments` (`id`,`package_id`,`package_name`,`package_version`,`all_devices`,`device_count`,`not_before`,`created_by`,`created_at`,`unassigned_at`) VALUES ('id-0','package_id-0','package_name-0','package_version-0',0,0,'2026-01-01T03:04:05.678','created_by-0','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678');
INSERT INTO `assignments` (`id`,`package_id`,`package_name`,`package_version`,`all_devices`,`device_count`,`not_before`,`created_by`,`created_at`,`unassigned_at`) VALUES ('id-1','package_id-1','package_name-1','package_version-1',1,1,NULL,'created_by-1','2026-01-02T03:04:05.678',NULL);
INSERT INTO `audit_entries` (`id`,`time`,`actor`,`actor_kind`,`operation`,`target`,`status`,`remote_ip`,`details`) VALUES ('id-0','2026-01-01T03:04:05.678','actor-0','session','operation-0','target-0',0,'remote_ip-0','{"name":"a"}');
INSERT INTO `audit_entries` (`id`,`time`,`actor`,`actor_kind`,`operation`,`target`,`status`,`remote_ip`,`details`) VALUES ('id-1','2026-01-02T03:04:05.678','actor-1','session','operation-1','target-1',1,'remote_ip-1','{"name":"a"}');
INSERT INTO `blob_refs` (`owner_id`,`seq`,`sha256`,`length`) VALUES ('owner_id-0',0,'sha256-0',0);
INSERT INTO `blob_refs` (`owner_id`,`seq`,`sha256`,`length`) VALUES ('owner_id-1',1,'sha256-1',1);
INSERT INTO `blobs` (`sha256`,`size`,`claimed_at`) VALUES ('sha256-0',0,'2026-01-01T03:04:05.678');
INSERT INTO `blobs` (`sha256`,`size`,`claimed_at`) VALUES ('sha256-1',1,'2026-01-02T03:04:05.678');
INSERT INTO `deployment_attempts` (`id`,`deployment_id`,`number`,`state`,`last_report`,`result_report`,`instruction`,`reports`,`exit_code`,`signal`,`output`,`output_bytes`,`duration_ms`,`files`,`bytes`,`created_at`,`finished_at`) VALUES ('id-0','deployment_id-0',0,'active','last_report-0','result_report-0','instruction-0',0,0,'signal-0','output-0',0,0,0,0,'2026-01-01T03:04:05.678','2026-01-01T03:04:05.678');
INSERT INTO `deployment_attempts` (`id`,`deployment_id`,`number`,`state`,`last_report`,`result_report`,`instruction`,`reports`,`exit_code`,`signal`,`output`,`output_bytes`,`duration_ms`,`files`,`bytes`,`created_at`,`finished_at`) VALUES ('id-1','deployment_id-1',1,'active','last_report-1','result_report-1','instruction-1',1,NULL,'signal-1','output-1',1,1,1,1,'2026-01-02T03:04:05.678',NULL);
INSERT INTO `deployment_timeline` (`deployment_id`,`seq`,`report_id`,`device_id`,`time`,`received_at`,`source`,`attempt`,`state`,`reason`,`message`,`exit_code`,`next_at`,`waits_for`) VALUES ('deployment_id-0',0,'report_id-0','device_id-0','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678','device',0,'active','exit_code','message-0',0,'2026-01-01T03:04:05.678','waits_for-0');
INSERT INTO `deployment_timeline` (`deployment_id`,`seq`,`report_id`,`device_id`,`time`,`received_at`,`source`,`attempt`,`state`,`reason`,`message`,`exit_code`,`next_at`,`waits_for`) VALUES ('deployment_id-1',1,NULL,'device_id-1','2026-01-02T03:04:05.678','2026-01-02T03:04:05.678','device',1,'active','exit_code','message-1',NULL,NULL,'waits_for-1');
INSERT INTO `deployments` (`id`,`assignment_id`,`device_id`,`hostname`,`package_id`,`package_name`,`package_version`,`priority`,`instruction`,`retry_attempts`,`retry_delay_seconds`,`rerun_safe`,`state`,`reason`,`message`,`waits_for`,`live`,`live_key`,`attempt`,`attempt_id`,`failures`,`exit_code`,`signal`,`not_before`,`timeline_seq`,`created_at`,`updated_at`,`finished_at`) VALUES ('id-0','assignment_id-0','device_id-0','hostname-0','package_id-0','package_name-0','package_version-0',0,'instruction-0',0,0,0,'active','exit_code','message-0','waits_for-0',0,'live_key-0',0,'attempt_id-0',0,0,'signal-0','2026-01-01T03:04:05.678',0,'2026-01-01T03:04:05.678','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678');
INSERT INTO `deployments` (`id`,`assignment_id`,`device_id`,`hostname`,`package_id`,`package_name`,`package_version`,`priority`,`instruction`,`retry_attempts`,`retry_delay_seconds`,`rerun_safe`,`state`,`reason`,`message`,`waits_for`,`live`,`live_key`,`attempt`,`attempt_id`,`failures`,`exit_code`,`signal`,`not_before`,`timeline_seq`,`created_at`,`updated_at`,`finished_at`) VALUES ('id-1','assignment_id-1','device_id-1','hostname-1','package_id-1','package_name-1','package_version-1',1,'instruction-1',1,1,1,'active','exit_code','message-1','waits_for-1',1,NULL,1,'attempt_id-1',1,NULL,'signal-1',NULL,1,'2026-01-02T03:04:05.678','2026-01-02T03:04:05.678',NULL);
INSERT INTO `device_footprints` (`device_id`,`reported_at`,`since`,`cpu_ms`,`rss_bytes`,`rss_high_bytes`,`task_high_bytes`,`sent_bytes`,`received_bytes`) VALUES ('device_id-0','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678',0,0,0,0,0,0);
INSERT INTO `device_footprints` (`device_id`,`reported_at`,`since`,`cpu_ms`,`rss_bytes`,`rss_high_bytes`,`task_high_bytes`,`sent_bytes`,`received_bytes`) VALUES ('device_id-1','2026-01-02T03:04:05.678','2026-01-02T03:04:05.678',1,1,1,1,1,1);
INSERT INTO `device_software` (`device_id`,`software_key`,`title_id`,`version_id`,`size_bytes`,`installed_at`,`arch`,`essential`,`defect`,`first_seen_at`) VALUES ('device_id-0','software_key-0',0,0,0,'2026-01-01T03:04:05.678','arch-0',0,'defect-0','2026-01-01T03:04:05.678');
INSERT INTO `device_software` (`device_id`,`software_key`,`title_id`,`version_id`,`size_bytes`,`installed_at`,`arch`,`essential`,`defect`,`first_seen_at`) VALUES ('device_id-1','software_key-1',1,1,1,NULL,'arch-1',1,'defect-1','2026-01-02T03:04:05.678');
INSERT INTO `devices` (`id`,`state`,`hostname`,`os`,`os_name`,`os_version`,`arch`,`agent_version`,`nonce`,`secret_sha256`,`next_sha256`,`machine_id`,`seen_machine_id`,`instance_id`,`past_instances`,`quarantine_reason`,`trust_version`,`facts`,`facts_changed_at`,`token_id`,`enrolled_from`,`enrolled_at`,`last_seen_at`,`updated_at`,`previous_sha256`,`seen_secret_sha256`,`open_tasks`) VALUES ('id-0','active','hostname-0','os-0','os_name-0','os_version-0','arch-0','agent_version-0','nonce-0','secret_sha256-0','next_sha256-0','machine_id-0','seen_machine_id-0','instance_id-0','past_instances-0','quarantine_reason-0',0,'{"hostname":"pc-1"}','2026-01-01T03:04:05.678','token_id-0','enrolled_from-0','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678','previous_sha256-0','seen_secret_sha256-0',0);
INSERT INTO `devices` (`id`,`state`,`hostname`,`os`,`os_name`,`os_version`,`arch`,`agent_version`,`nonce`,`secret_sha256`,`next_sha256`,`machine_id`,`seen_machine_id`,`instance_id`,`past_instances`,`quarantine_reason`,`trust_version`,`facts`,`facts_changed_at`,`token_id`,`enrolled_from`,`enrolled_at`,`last_seen_at`,`updated_at`,`previous_sha256`,`seen_secret_sha256`,`open_tasks`) VALUES ('id-1','active','hostname-1','os-1','os_name-1','os_version-1','arch-1','agent_version-1','nonce-1','secret_sha256-1','next_sha256-1','machine_id-1','seen_machine_id-1','instance_id-1','past_instances-1','quarantine_reason-1',1,'{"hostname":"pc-1"}','2026-01-02T03:04:05.678','token_id-1','enrolled_from-1','2026-01-02T03:04:05.678',NULL,'2026-01-02T03:04:05.678','previous_sha256-1','seen_secret_sha256-1',1);
INSERT INTO `enrollment_tokens` (`id`,`name`,`secret_sha256`,`uses`,`max_uses`,`needs_approval`,`expires_at`,`revoked_at`,`created_by`,`created_at`) VALUES ('id-0','name-0','secret_sha256-0',0,0,0,'2026-01-01T03:04:05.678','2026-01-01T03:04:05.678','created_by-0','2026-01-01T03:04:05.678');
INSERT INTO `enrollment_tokens` (`id`,`name`,`secret_sha256`,`uses`,`max_uses`,`needs_approval`,`expires_at`,`revoked_at`,`created_by`,`created_at`) VALUES ('id-1','name-1','secret_sha256-1',1,1,1,'2026-01-02T03:04:05.678',NULL,'created_by-1','2026-01-02T03:04:05.678');
INSERT INTO `event_conditions` (`device_id`,`kind`,`subject`,`since`) VALUES ('device_id-0','kind-0','subject-0','2026-01-01T03:04:05.678');
INSERT INTO `event_conditions` (`device_id`,`kind`,`subject`,`since`) VALUES ('device_id-1','kind-1','subject-1','2026-01-02T03:04:05.678');
INSERT INTO `events` (`id`,`time`,`device_id`,`hostname`,`kind`,`section`,`subject`,`former`,`present`,`message`) VALUES ('id-0','2026-01-01T03:04:05.678','device_id-0','hostname-0','kind-0','section-0','subject-0','former-0','present-0','message-0');
INSERT INTO `events` (`id`,`time`,`device_id`,`hostname`,`kind`,`section`,`subject`,`former`,`present`,`message`) VALUES ('id-1','2026-01-02T03:04:05.678','device_id-1','hostname-1','kind-1','section-1','subject-1','former-1','present-1','message-1');
INSERT INTO `inventory_sections` (`device_id`,`section`,`sha256`,`cleaning`,`content`,`row_count`,`problem`,`remark`,`named_at`,`collected_at`,`received_at`) VALUES ('device_id-0','section-0','sha256-0',0,x'00ff',0,'problem-0','remark-0','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678');
INSERT INTO `inventory_sections` (`device_id`,`section`,`sha256`,`cleaning`,`content`,`row_count`,`problem`,`remark`,`named_at`,`collected_at`,`received_at`) VALUES ('device_id-1','section-1','sha256-1',1,x'00ff',1,'problem-1','remark-1','2026-01-02T03:04:05.678',NULL,NULL);
INSERT INTO `packages` (`id`,`name`,`version`,`live_key`,`priority`,`action`,`state`,`spec`,`archive_format`,`archive_size`,`archive_sha256`,`archive_fragments`,`serial`,`instruction_digest`,`signed_by`,`private`,`issued_at`,`expires_at`,`created_by`,`created_at`,`updated_at`,`activated_at`,`retired_at`) VALUES ('id-0','name-0','version-0','live_key-0',0,'execute','active','{"name":"tool","version":"1.0","action":"execute","command":["/bin/true"]}','archive_format-0',0,'archive_sha256-0',0,0,'instruction_digest-0','signed_by-0',0,'2026-01-01T03:04:05.678','2026-01-01T03:04:05.678','created_by-0','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678');
INSERT INTO `packages` (`id`,`name`,`version`,`live_key`,`priority`,`action`,`state`,`spec`,`archive_format`,`archive_size`,`archive_sha256`,`archive_fragments`,`serial`,`instruction_digest`,`signed_by`,`private`,`issued_at`,`expires_at`,`created_by`,`created_at`,`updated_at`,`activated_at`,`retired_at`) VALUES ('id-1','name-1','version-1',NULL,1,'execute','active','{"name":"tool","version":"1.0","action":"execute","command":["/bin/true"]}','archive_format-1',1,'archive_sha256-1',1,1,'instruction_digest-1','signed_by-1',1,NULL,NULL,'created_by-1','2026-01-02T03:04:05.678','2026-01-02T03:04:05.678',NULL,NULL);
INSERT INTO `sessions` (`token`,`data`,`expiry`) VALUES ('token-0',x'00ff','2026-01-01T03:04:05.678');
INSERT INTO `sessions` (`token`,`data`,`expiry`) VALUES ('token-1',x'00ff','2026-01-02T03:04:05.678');
INSERT INTO `software_history` (`id`,`device_id`,`title_id`,`kind`,`from_version`,`to_version`,`arch`,`time`) VALUES ('id-0','device_id-0',0,'kind-0','from_version-0','to_version-0','arch-0','2026-01-01T03:04:05.678');
INSERT INTO `software_history` (`id`,`device_id`,`title_id`,`kind`,`from_version`,`to_version`,`arch`,`time`) VALUES ('id-1','device_id-1',1,'kind-1','from_version-1','to_version-1','arch-1','2026-01-02T03:04:05.678');
INSERT INTO `software_titles` (`id`,`identity`,`source`,`purl`,`name`,`publisher`,`summary`,`devices`,`first_seen_at`) VALUES (1,'identity-0','device','purl-0','name-0','publisher-0','summary-0',0,'2026-01-01T03:04:05.678');
INSERT INTO `software_titles` (`id`,`identity`,`source`,`purl`,`name`,`publisher`,`summary`,`devices`,`first_seen_at`) VALUES (2,'identity-1','device','purl-1','name-1','publisher-1','summary-1',1,'2026-01-02T03:04:05.678');
INSERT INTO `software_versions` (`id`,`identity`,`title_id`,`version`,`devices`,`first_seen_at`) VALUES (1,'identity-0',0,'version-0',0,'2026-01-01T03:04:05.678');
INSERT INTO `software_versions` (`id`,`identity`,`title_id`,`version`,`devices`,`first_seen_at`) VALUES (2,'identity-1',1,'version-1',1,'2026-01-02T03:04:05.678');
INSERT INTO `task_timeline` (`task_id`,`seq`,`report_id`,`device_id`,`time`,`received_at`,`source`,`state`,`reason`,`message`,`next_at`) VALUES ('task_id-0',0,'report_id-0','device_id-0','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678','device','active','exit_code','message-0','2026-01-01T03:04:05.678');
INSERT INTO `task_timeline` (`task_id`,`seq`,`report_id`,`device_id`,`time`,`received_at`,`source`,`state`,`reason`,`message`,`next_at`) VALUES ('task_id-1',1,NULL,'device_id-1','2026-01-02T03:04:05.678','2026-01-02T03:04:05.678','device','active','exit_code','message-1',NULL);
INSERT INTO `tasks` (`id`,`device_id`,`hostname`,`kind`,`batch_id`,`input`,`state`,`reason`,`message`,`items`,`live`,`reached`,`last_report`,`reports`,`next_try`,`timeline_seq`,`created_by`,`created_at`,`updated_at`,`finished_at`) VALUES ('id-0','device_id-0','hostname-0','kind-0','batch_id-0','input-0','active','exit_code','message-0','items-0',0,'reached-0','last_report-0',0,'2026-01-01T03:04:05.678',0,'created_by-0','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678');
INSERT INTO `tasks` (`id`,`device_id`,`hostname`,`kind`,`batch_id`,`input`,`state`,`reason`,`message`,`items`,`live`,`reached`,`last_report`,`reports`,`next_try`,`timeline_seq`,`created_by`,`created_at`,`updated_at`,`finished_at`) VALUES ('id-1','device_id-1','hostname-1','kind-1','batch_id-1','input-1','active','exit_code','message-1','items-1',1,'reached-1','last_report-1',1,NULL,1,'created_by-1','2026-01-02T03:04:05.678','2026-01-02T03:04:05.678',NULL);
INSERT INTO `trust_documents` (`version`,`envelope`,`created_at`) VALUES (0,'{}','2026-01-01T03:04:05.678');
INSERT INTO `trust_documents` (`version`,`envelope`,`created_at`) VALUES (1,'{}','2026-01-02T03:04:05.678');
INSERT INTO `uploads` (`id`,`file_name`,`size`,`fragment_size`,`received`,`fragments`,`hash_state`,`state`,`format`,`sha256`,`entries`,`entries_total`,`created_by`,`created_at`,`updated_at`) VALUES ('id-0','file_name-0',0,0,0,0,x'00ff','active','format-0','sha256-0','[]',0,'created_by-0','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678');
INSERT INTO `uploads` (`id`,`file_name`,`size`,`fragment_size`,`received`,`fragments`,`hash_state`,`state`,`format`,`sha256`,`entries`,`entries_total`,`created_by`,`created_at`,`updated_at`) VALUES ('id-1','file_name-1',1,1,1,1,NULL,'active','format-1','sha256-1','[]',1,'created_by-1','2026-01-02T03:04:05.678','2026-01-02T03:04:05.678');
INSERT INTO `users` (`id`,`username`,`password_hash`,`sessions_from`,`created_at`,`updated_at`) VALUES ('id-0','username-0','password_hash-0','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678','2026-01-01T03:04:05.678');
INSERT INTO `users` (`id`,`username`,`password_hash`,`sessions_from`,`created_at`,`updated_at`) VALUES ('id-1','username-1','password_hash-1','2026-01-02T03:04:05.678','2026-01-02T03:04:05.678','2026-01-02T03:04:05.678');
