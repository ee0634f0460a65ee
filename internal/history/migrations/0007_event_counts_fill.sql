-- Fills event_counts from every insert into events.
CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.event_counts_fill TO ${database}.event_counts AS
SELECT
    tenant,
    toStartOfFiveMinutes(toDateTime(time, 'UTC')) AS bucket,
    outcome,
    country,
    max(time) AS newest,
    uniqState(id) AS events
FROM ${database}.events
GROUP BY tenant, bucket, outcome, country
