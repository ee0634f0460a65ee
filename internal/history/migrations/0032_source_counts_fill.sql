-- Fills source_counts from every insert into events. Events that countersign itself writes have no source.
CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.source_counts_fill TO ${database}.source_counts AS
SELECT
    tenant,
    toStartOfFiveMinutes(toDateTime(ingested, 'UTC')) AS bucket,
    source,
    family,
    toUInt8(least(255, round(4 * log2(greatest(1, toUnixTimestamp64Milli(ingested) - toUnixTimestamp64Milli(time)))))) AS delay,
    max(time) AS newest,
    max(ingested) AS accepted,
    uniqState(id) AS events
FROM ${database}.events
WHERE kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, bucket, source, family, delay
