SELECT run_id, model, variant, mode, device, engine, precision, batch_size, input_shape, threads, parameters,
    :columns
FROM selected
WHERE validity = 'valid'
ORDER BY model, variant, mode, device, engine, precision, batch_size, input_shape, threads, parameters, run_id
