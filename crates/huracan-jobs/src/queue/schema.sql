CREATE TABLE runs (
  run text PRIMARY KEY,
  purpose text NOT NULL,
  spec bytea NOT NULL,
  worker text NOT NULL,
  began_at_ms bigint NOT NULL,
  ended_at_ms bigint,
  outcome text,
  -- Who coordinates: counts up with every change of hands, so that the former holder is told apart.
  lease bigint NOT NULL,
  instance bigint,
  lease_expires_at timestamptz
);
CREATE SEQUENCE versions;
CREATE TABLE jobs (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run text NOT NULL REFERENCES runs (run) ON DELETE CASCADE,
  stage text NOT NULL,
  symbol text NOT NULL,
  idx bigint NOT NULL,
  key text NOT NULL,
  priority bigint NOT NULL,
  status text NOT NULL,
  attempt bigint NOT NULL,
  max_attempts bigint,
  crashes bigint NOT NULL,
  crashes_alone bigint NOT NULL,
  alone boolean NOT NULL,
  worker text,
  digest text,
  not_before_ms bigint,
  started_at_ms bigint,
  finished_at_ms bigint,
  cpu_s double precision,
  wall_s double precision,
  peak_bytes bigint,
  error_code text,
  error_text text,
  error_transient boolean NOT NULL,
  error_retry_after_s double precision,
  reason text,
  dead boolean NOT NULL,
  cancel_requested boolean NOT NULL,
  cap_wall_s double precision,
  cap_memory_bytes bigint,
  -- Who is at it: counts up with every attempt, so that a worker that lost its lease is told apart.
  claim bigint NOT NULL,
  instance bigint,
  lease_expires_at timestamptz,
  -- Counts up with every change anywhere, so that a coordinator can ask for what is new.
  version bigint NOT NULL,
  UNIQUE (run, stage, symbol)
);
CREATE INDEX jobs_running ON jobs (lease_expires_at) WHERE status = 'running';
CREATE INDEX jobs_pending ON jobs (id) WHERE status = 'pending';
CREATE INDEX jobs_failed ON jobs (id) WHERE status = 'failed';
CREATE INDEX jobs_by_version ON jobs (run, stage, version);
CREATE TABLE history (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job bigint NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  at_ms bigint NOT NULL,
  event text NOT NULL,
  attempt bigint NOT NULL,
  worker text,
  key text NOT NULL,
  digest text,
  reason text
);
CREATE INDEX history_by_job ON history (job);
CREATE TABLE format (version bigint NOT NULL);
INSERT INTO format VALUES (1);
