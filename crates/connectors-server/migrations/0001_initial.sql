-- Times are Unix milliseconds. JSON is kept as text, and read by the server only: nothing here depends on the
-- JSON functions of one database.

CREATE TABLE workspaces (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    created_ms BIGINT NOT NULL
);

-- Only the SHA-256 of a key is kept. A key has 190 random bits, so its hash needs no salt and no slow function.
CREATE TABLE api_keys (
    id           TEXT   NOT NULL PRIMARY KEY,
    workspace_id TEXT   NOT NULL REFERENCES workspaces (id),
    token_sha256 TEXT   NOT NULL UNIQUE,
    role         TEXT   NOT NULL CHECK (role IN ('admin', 'editor', 'viewer')),
    created_ms   BIGINT NOT NULL,
    revoked_ms   BIGINT
);

CREATE TABLE connectors (
    id             TEXT   NOT NULL PRIMARY KEY,
    workspace_id   TEXT   NOT NULL REFERENCES workspaces (id),
    name           TEXT   NOT NULL,
    provider       TEXT   NOT NULL,
    state          TEXT   NOT NULL,
    config         TEXT   NOT NULL, -- what a read may show
    secrets        TEXT   NOT NULL, -- what it may not
    last_scan_ms   BIGINT,
    findings_count BIGINT NOT NULL DEFAULT 0,
    risk_score     BIGINT,
    created_ms     BIGINT NOT NULL,
    updated_ms     BIGINT NOT NULL,
    UNIQUE (workspace_id, name)
);

-- Ids begin with their time of creation, so this is the order of creation, and a cursor survives the deletion of
-- the connector that it names.
CREATE INDEX connectors_by_workspace ON connectors (workspace_id, id);

CREATE TABLE scans (
    id               TEXT   NOT NULL PRIMARY KEY,
    workspace_id     TEXT   NOT NULL REFERENCES workspaces (id),
    connector_id     TEXT   NOT NULL REFERENCES connectors (id) ON DELETE CASCADE,
    kind             TEXT   NOT NULL,
    options          TEXT   NOT NULL,
    state            TEXT   NOT NULL,
    failure          TEXT,
    baseline_scan_id TEXT, -- the completed scan that an incremental one compares with
    workers          BIGINT NOT NULL DEFAULT 0,
    enumerated       BIGINT NOT NULL DEFAULT 0, -- 1 when every listing has been read to its end
    files_total      BIGINT NOT NULL DEFAULT 0, -- rows in scan_objects, the unchanged ones apart
    scanned          BIGINT NOT NULL DEFAULT 0,
    skipped          BIGINT NOT NULL DEFAULT 0,
    failed           BIGINT NOT NULL DEFAULT 0,
    unchanged        BIGINT NOT NULL DEFAULT 0, -- incremental: as they were in the baseline
    findings_count   BIGINT NOT NULL DEFAULT 0,
    created_ms       BIGINT NOT NULL,
    started_ms       BIGINT,
    completed_ms     BIGINT
);

CREATE INDEX scans_by_connector ON scans (connector_id, id);

-- At most one unfinished scan for one connector, whoever asks and however often.
CREATE UNIQUE INDEX scans_one_unfinished ON scans (connector_id) WHERE state IN ('queued', 'running');

-- One listing that a scan has to read: a bucket, or one prefix of it. Its counters start over when the listing does.
CREATE TABLE scan_listings (
    scan_id  TEXT   NOT NULL REFERENCES scans (id) ON DELETE CASCADE,
    bucket   TEXT   NOT NULL,
    prefix   TEXT   NOT NULL,
    listed   BIGINT NOT NULL DEFAULT 0,
    left_out BIGINT NOT NULL DEFAULT 0,
    done     BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (scan_id, bucket, prefix)
);

-- Work items. `state` goes pending, claimed, and then scanned, skipped, failed or unchanged for good.
CREATE TABLE scan_objects (
    id             INTEGER PRIMARY KEY,
    scan_id        TEXT   NOT NULL REFERENCES scans (id) ON DELETE CASCADE,
    bucket         TEXT   NOT NULL,
    object_key     TEXT   NOT NULL,
    etag           TEXT,
    size           BIGINT NOT NULL,
    modified_ms    BIGINT NOT NULL,
    state          TEXT   NOT NULL,
    reason         TEXT,
    findings_count BIGINT NOT NULL DEFAULT 0,
    sensitivity    BIGINT NOT NULL DEFAULT 0, -- percent: the highest weight among the categories found
    origin_id      BIGINT, -- for an unchanged object: the row of an earlier scan that has its findings
    UNIQUE (scan_id, bucket, object_key)
);

CREATE INDEX scan_objects_queue ON scan_objects (scan_id, state, id);

-- For the removal of rows of earlier scans that no later one points to.
CREATE INDEX scan_objects_origin ON scan_objects (origin_id) WHERE origin_id IS NOT NULL;

CREATE TABLE object_categories (
    object_id BIGINT NOT NULL REFERENCES scan_objects (id) ON DELETE CASCADE,
    category  TEXT   NOT NULL,
    count     BIGINT NOT NULL,
    PRIMARY KEY (object_id, category)
);

-- Where a value was found. Never the value.
CREATE TABLE findings (
    id          INTEGER PRIMARY KEY,
    object_id   BIGINT NOT NULL REFERENCES scan_objects (id) ON DELETE CASCADE,
    category    TEXT   NOT NULL,
    classifier  TEXT   NOT NULL,
    confidence  BIGINT NOT NULL, -- percent
    byte_offset BIGINT NOT NULL,
    line        BIGINT NOT NULL,
    field_path  TEXT
);

CREATE INDEX findings_by_object ON findings (object_id);
