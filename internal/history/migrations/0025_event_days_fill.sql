-- Fills event_days from every insert into events.
CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.event_days_fill TO ${database}.event_days AS
SELECT
    tenant,
    toDate(time, 'UTC') AS day,
    outcome,
    max(time) AS newest,
    uniqCombinedState(14)(id) AS events
FROM ${database}.events
WHERE kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, day, outcome
