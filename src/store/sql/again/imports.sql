SELECT import_batch.path, import_batch.format, import_batch.imported_at, count(*) AS runs
FROM selected JOIN import_batch ON import_batch.id = selected.import_batch_id
GROUP BY import_batch.id
ORDER BY import_batch.id
