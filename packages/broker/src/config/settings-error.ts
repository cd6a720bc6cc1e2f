/** A setting that cannot be used: the operator's to correct, so the message names the place and the remedy. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError'
}
