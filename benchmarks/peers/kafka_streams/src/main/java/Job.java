import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.OffsetDateTime;
import java.util.HashMap;
import java.util.Iterator;
import java.util.Map;
import java.util.regex.Pattern;

/** The job, as benchmarks/peers/job.py does it: the same tables, the same state bytes. */
final class Job {
  private static final int IDS = 32, IDS_AT = 16, SUMS_AT = IDS_AT + 8 * IDS, DAY_S = 86_400;
  private static final Pattern ID = Pattern.compile("[0-9a-f]{32}");
  private static final Pattern SUBJECT = Pattern.compile("(person|household)-[0-9a-f]{32}");
  private static final Pattern AUTHORITY = Pattern.compile("[EWSN][0-9]{8}");

  /** What an event did; no state: a repeat. */
  record Outcome(byte[] state, boolean alert, double score) {}

  private final ObjectMapper mapper = new ObjectMapper();
  private final Map<String, Integer> features = new HashMap<>();
  private final double[] weights;
  private final double[][] decay;
  private final double line;

  Job(JsonNode tables) {
    tables.get("features").fields().forEachRemaining(entry -> features.put(entry.getKey(), entry.getValue().asInt()));
    weights = mapper.convertValue(tables.get("weights"), double[].class);
    decay = mapper.convertValue(tables.get("decay"), double[][].class);
    line = tables.get("line").asDouble();
  }

  Outcome fold(byte[] held, byte[] value) {
    JsonNode event = parse(value);
    int feature = features.get(label(event));
    long name = Long.parseUnsignedLong(event.get("id").textValue(), 0, 16, 16);
    long moment = OffsetDateTime.parse(event.get("time").textValue()).toEpochSecond();
    byte[] state = held == null ? new byte[SUMS_AT + 8 * weights.length] : held.clone();
    ByteBuffer buffer = ByteBuffer.wrap(state).order(ByteOrder.LITTLE_ENDIAN);
    for (int n = 0; n < IDS; n++) {
      if (buffer.getLong(IDS_AT + 8 * n) == name) {
        return new Outcome(null, false, 0);
      }
    }
    long seen = buffer.getLong(0), next = buffer.getLong(8);
    int days = (int) Math.min(Math.max(moment - seen, 0) / DAY_S, decay.length - 1);
    double before = 0;
    for (int n = 0; n < weights.length; n++) {
      double sum = buffer.getDouble(SUMS_AT + 8 * n) * decay[days][n];
      buffer.putDouble(SUMS_AT + 8 * n, n == feature ? sum + 1 : sum);
      before += sum * weights[n];
    }
    buffer.putLong(IDS_AT + 8 * (int) (next % IDS), name);
    buffer.putLong(8, next + 1);
    buffer.putLong(0, Math.max(seen, moment));
    double score = before + weights[feature];
    return new Outcome(state, before < line && line <= score, score);
  }

  private JsonNode parse(byte[] value) {
    try {
      JsonNode event = mapper.readTree(value);
      OffsetDateTime.parse(event.get("recordedtime").textValue());
      boolean valid = event.get("specversion").textValue().equals("1.0")
          && ID.matcher(event.get("id").textValue()).matches()
          && !event.get("source").textValue().isEmpty() && event.get("source").textValue().length() <= 256
          && event.get("type").textValue().length() <= 64
          && SUBJECT.matcher(event.get("subject").textValue()).matches()
          && AUTHORITY.matcher(event.get("la").textValue()).matches()
          && event.get("datacontenttype").textValue().equals("application/json")
          && event.get("data").isObject();
      if (!valid) {
        throw new IllegalArgumentException("not an event");
      }
      return event;
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private static String label(JsonNode event) {
    Iterator<JsonNode> values = event.get("data").elements();
    JsonNode first = values.hasNext() ? values.next() : null;
    boolean tells = first != null && (first.isTextual() || first.isBoolean());
    return event.get("type").textValue() + "|" + (tells ? first.asText() : "");
  }
}
