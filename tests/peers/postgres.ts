// The server of postgres.mjs, which plain JavaScript (benchmarks, torture) uses too, for tests.
export { noPostgres, startPostgres, type PostgresServer } from './postgres.mjs'
