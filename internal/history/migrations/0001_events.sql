-- One row an event. A repeat of the same event, after a restart or a retry, is the same sort key and is replaced.
CREATE TABLE IF NOT EXISTS ${database}.events
(
    tenant           LowCardinality(String),
    user_id          String CODEC(ZSTD(1)),
    time             DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    -- The first 128 bits of a hash: nothing compresses them.
    id               FixedString(16) CODEC(NONE),
    -- When the record entered the log. It is the version of the row and the start of its retention time.
    logged           DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    ingested         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    kind             LowCardinality(String),
    user_name        String CODEC(ZSTD(1)),
    -- Three values everywhere: 1 yes, -1 no, 0 unknown.
    privileged       Int8 CODEC(ZSTD(1)),
    source           LowCardinality(String),
    family           LowCardinality(String),
    category         LowCardinality(String),
    outcome          LowCardinality(String),
    code             LowCardinality(String),
    interactive      Int8 CODEC(ZSTD(1)),
    app_id           String CODEC(ZSTD(1)),
    app_name         LowCardinality(String),
    resource_id      String CODEC(ZSTD(1)),
    resource_name    LowCardinality(String),
    session_id       String CODEC(ZSTD(1)),
    -- '::' is unknown; IPv4 is mapped.
    ip               IPv6 CODEC(ZSTD(1)),
    prefix           String CODEC(ZSTD(1)),
    asn              UInt32 CODEC(ZSTD(1)),
    org              LowCardinality(String),
    -- Network classes joined by ',': the combinations are few.
    classes          LowCardinality(String),
    -- (0, 0) is unknown.
    lat              Float64 CODEC(ZSTD(1)),
    lon              Float64 CODEC(ZSTD(1)),
    radius_km        Float32 CODEC(ZSTD(1)),
    city             LowCardinality(String),
    region           LowCardinality(String),
    country          LowCardinality(String),
    provider_country LowCardinality(String),
    device_id        String CODEC(ZSTD(1)),
    managed          Int8 CODEC(ZSTD(1)),
    compliant        Int8 CODEC(ZSTD(1)),
    os               LowCardinality(String),
    browser          LowCardinality(String),
    device_type      LowCardinality(String),
    mfa              LowCardinality(String),
    strength         LowCardinality(String),
    methods          LowCardinality(String),
    acr              LowCardinality(String),
    -- The record as it was on the log, so that nothing is lost and a new field needs no migration to be shown.
    raw              String CODEC(ZSTD(1)),
    INDEX by_ip ip TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_session session_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_id id TYPE bloom_filter(0.001) GRANULARITY 4
)
ENGINE = ReplacingMergeTree(logged)
-- By the event's own time, which never changes, so that repeats of an event meet in one partition; by month, because
-- a part is the unit of dropping and months keep parts few.
PARTITION BY toYYYYMM(time)
-- One person's timeline is the question asked most: a tenant's user is one range, in the order of time. The id makes
-- the key that of one event.
ORDER BY (tenant, user_id, time, id)
-- Retention counts from the log, so that history that is imported late is kept as long. Configuration overrides it.
TTL toDateTime(logged) + INTERVAL 90 DAY
SETTINGS
    -- Whole parts are dropped: no rewriting for a few old rows.
    ttl_only_drop_parts = 1,
    -- An acknowledged insert survives a power loss: the offsets are committed right after it.
    fsync_after_insert = 1,
    fsync_part_directory = 1
