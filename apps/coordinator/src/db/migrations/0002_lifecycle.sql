CREATE TABLE `blocked_nodes` (
	`node_id` text PRIMARY KEY NOT NULL,
	`blocked_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `node_events` (
	`id` integer PRIMARY KEY NOT NULL,
	`node_id` text NOT NULL,
	`at` integer NOT NULL,
	`event` text NOT NULL,
	`data` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `node_events_by_node` ON `node_events` (`node_id`,`id`);--> statement-breakpoint
CREATE TABLE `registry_state` (
	`id` integer PRIMARY KEY NOT NULL,
	`uptime_ms` integer NOT NULL,
	`epoch_floor` integer NOT NULL
);
--> statement-breakpoint
ALTER TABLE `known_nodes` ADD `heard_uptime` integer DEFAULT 0 NOT NULL;