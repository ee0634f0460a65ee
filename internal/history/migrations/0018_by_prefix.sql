-- Who came from where: one row for a day, a user and an address, by the /24 or /48 around the address. A row's events
-- are a set of ids, because rows of the source repeat.
CREATE TABLE IF NOT EXISTS ${database}.by_prefix
(
    tenant   LowCardinality(String),
    prefix   String CODEC(ZSTD(1)),
    day      Date CODEC(ZSTD(1)),
    user_id  String CODEC(ZSTD(1)),
    ip       IPv6 CODEC(ZSTD(1)),
    asn      SimpleAggregateFunction(max, UInt32) CODEC(ZSTD(1)),
    org      SimpleAggregateFunction(max, LowCardinality(String)) CODEC(ZSTD(1)),
    classes  SimpleAggregateFunction(max, LowCardinality(String)) CODEC(ZSTD(1)),
    country  SimpleAggregateFunction(max, LowCardinality(String)) CODEC(ZSTD(1)),
    -- The ids of the applications.
    apps     SimpleAggregateFunction(groupUniqArrayArray, Array(String)) CODEC(ZSTD(1)),
    first    SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    last     SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    logged   SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1)),
    events   AggregateFunction(uniq, FixedString(16)) CODEC(ZSTD(1)),
    -- Of them, those that failed or were blocked.
    failures AggregateFunction(uniqIf, FixedString(16), UInt8) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (tenant, prefix, day, user_id, ip)
TTL toDateTime(logged) + INTERVAL 90 DAY
SETTINGS
    -- A month that nothing was written into for a week becomes one part.
    min_age_to_force_merge_seconds = 604800,
    min_age_to_force_merge_on_partition_only = 1,
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1
