CREATE TABLE `known_nodes` (
	`node_id` text PRIMARY KEY NOT NULL,
	`kind` text NOT NULL,
	`name` text,
	`group` text,
	`class` text NOT NULL,
	`labels` text NOT NULL,
	`version` text,
	`agent_url` text,
	`platform` text NOT NULL,
	`runtimes` text NOT NULL,
	`sensors` text NOT NULL,
	`capabilities` text NOT NULL,
	`instance_id` text,
	`epoch` integer NOT NULL,
	`published_state` text NOT NULL,
	`first_seen` integer NOT NULL,
	`last_seen` integer NOT NULL,
	`shutdown_at` integer
);
--> statement-breakpoint
CREATE TABLE `streams` (
	`stream_id` text PRIMARY KEY NOT NULL,
	`node_id` text NOT NULL,
	`spool_id` text NOT NULL,
	`acked_seq` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `superseded` (
	`node_id` text NOT NULL,
	`instance_id` text NOT NULL,
	`epoch` integer NOT NULL,
	PRIMARY KEY(`node_id`, `instance_id`)
);
--> statement-breakpoint
CREATE INDEX `superseded_by_epoch` ON `superseded` (`node_id`,`epoch`);--> statement-breakpoint
CREATE TABLE `trackers` (
	`stream_id` text PRIMARY KEY NOT NULL,
	`source` text NOT NULL,
	`port` integer,
	`run` integer NOT NULL,
	`pid` integer,
	`pid_start` integer,
	`boot_id` text,
	`created_at` integer NOT NULL,
	`last_frame_at` integer
);
