-- Keeps a fitted model; a newer one of the same name and target takes the place of the older.
INSERT INTO fitted_model
    (name, target, fitted_at, seed, row_count, provenance, evaluation, content, tool_version)
VALUES (:name, :target, :fitted_at, :seed, :row_count, :provenance, :evaluation, :content, :tool_version)
ON CONFLICT (name, target) DO UPDATE SET
    fitted_at = excluded.fitted_at, seed = excluded.seed, row_count = excluded.row_count,
    provenance = excluded.provenance, evaluation = excluded.evaluation, content = excluded.content,
    tool_version = excluded.tool_version
