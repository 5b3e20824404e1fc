SELECT model, category, count(*) AS runs, sum(validity = 'valid') AS valid,
    count(DISTINCT configuration_id) AS configurations,
    replace(group_concat(DISTINCT mode), ',', ', ') AS modes,
    replace(group_concat(DISTINCT precision), ',', ', ') AS precisions,
    min(batch_size) AS smallest_batch, max(batch_size) AS largest_batch
FROM selected
GROUP BY model
ORDER BY runs DESC, model
