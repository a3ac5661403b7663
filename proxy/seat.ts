/** What is known of a connection before it has said anything. */
export interface Seat {
  /**
   * As many clients as there may be sessions are there already. They may be some that only hold a
   * connection, so it is found out how many sessions there are before another one begins; a
   * CancelRequest is let through.
   */
  full: boolean;
  /** A load balancer tells first, in a PROXY header, who the client is. */
  announced: boolean;
}
