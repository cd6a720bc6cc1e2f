/** Why there can be no server here; null when there can. */
export declare const noPostgres: string | null
export interface PostgresServer {
  readonly port: number
  /** For any client: superuser `postgres`, no password. */
  readonly url: string
  stop(): Promise<void>
}
/** Starts a server that does not care about power failures. */
export declare function startPostgres(): Promise<PostgresServer>
