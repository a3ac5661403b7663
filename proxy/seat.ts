/** What is known of a connection before it has said anything. */
export interface Seat {
  /** As many sessions as there may be are there already; a CancelRequest is still let through. */
  full: boolean;
  /** A load balancer tells first, in a PROXY header, who the client is. */
  announced: boolean;
}
