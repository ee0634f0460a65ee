-- One row for each read of a person's data and each action through the API.
CREATE TABLE IF NOT EXISTS ${database}.audit
(
    -- '' is the installation's own, or data of all tenants.
    tenant  LowCardinality(String),
    time    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    id      FixedString(16) CODEC(NONE),
    logged  DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    actor   String CODEC(ZSTD(1)),
    via     LowCardinality(String),
    action  LowCardinality(String),
    target  String CODEC(ZSTD(1)),
    user_id String CODEC(ZSTD(1)),
    detail  String CODEC(ZSTD(1)),
    outcome LowCardinality(String),
    address String CODEC(ZSTD(1)),
    request String CODEC(ZSTD(1)),
    INDEX by_actor actor TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_user user_id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = ReplacingMergeTree(logged)
PARTITION BY toYYYYMM(time)
-- The trail is read from the newest back, and its cursor is (time, id).
ORDER BY (tenant, time, id)
TTL toDateTime(logged) + INTERVAL 400 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1
