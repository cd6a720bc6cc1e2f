/** Why there can be no server here; null when there can. */
export declare const noPostgres: string | null
export interface PostgresServer {
  readonly port: number
  /** Of the process that all others of the server are children of. */
  readonly pid: number
  /** For any client: superuser `postgres`, no password. */
  readonly url: string
  stop(): Promise<void>
}
/** Starts a server; without `durable` one that does not care about power failures. */
export declare function startPostgres(options?: { readonly durable?: boolean }): Promise<PostgresServer>
