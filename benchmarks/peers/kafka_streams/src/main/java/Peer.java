import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Kafka Streams: a processor with a cached, logged RocksDB store, one thread; the guarantee is the first argument. */
public final class Peer {
  static final String STORE = "families";
  static final Meter METER = new Meter();

  /** One family's event in; an alert out, perhaps. */
  static final class Score implements Processor<String, byte[], String, byte[]> {
    private final Job job;
    private ProcessorContext<String, byte[]> context;
    private KeyValueStore<String, byte[]> store;

    Score(Job job) {
      this.job = job;
    }

    @Override
    public void init(ProcessorContext<String, byte[]> context) {
      this.context = context;
      this.store = context.getStateStore(STORE);
    }

    @Override
    public void process(Record<String, byte[]> record) {
      Job.Outcome outcome = job.fold(store.get(record.key()), record.value());
      if (outcome.state() == null) {
        METER.repeats++;
      } else {
        store.put(record.key(), outcome.state());
      }
      if (outcome.alert()) {
        METER.alerts++;
        String alert = String.format("{\"family\":\"%s\",\"score\":%.3f}", record.key(), outcome.score());
        context.forward(record.withValue(alert.getBytes()));
      }
      METER.count();
    }
  }

  /** The same as benchmarks/meter.py. */
  static final class Meter {
    final CountDownLatch done = new CountDownLatch(1);
    private final long total = Long.parseLong(System.getenv("BENCH_TOTAL"));
    private final Path report = Path.of(System.getenv("BENCH_REPORT"));
    private final com.sun.management.OperatingSystemMXBean system =
        (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    private long records, warm, began, cpu;
    long alerts, repeats;

    void count() {
      records++;
      if (warm == 0 && records >= total / 4) {
        warm = records;
        began = System.nanoTime();
        cpu = system.getProcessCpuTime();
        try {
          Files.createFile(Path.of(report.toString().replace(".json", ".mark")));
        } catch (java.io.IOException error) {
          throw new java.io.UncheckedIOException(error);
        }
      }
      if (records >= total) {
        done.countDown();
      }
    }

    void finish() throws Exception {
      String text = String.format(
          "{\"events\":%d,\"seconds\":%f,\"cpu_s\":%f,\"peak_mib\":%f,\"total\":%d,\"alerts\":%d,\"repeats\":%d}",
          records - warm, (System.nanoTime() - began) / 1e9, (system.getProcessCpuTime() - cpu) / 1e9,
          peakMib(), records, alerts, repeats);
      Path partial = Path.of(report + ".partial");
      Files.writeString(partial, text);
      Files.move(partial, report);
    }

    private static double peakMib() throws Exception {
      for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
        if (line.startsWith("VmHWM")) {
          return Long.parseLong(line.replaceAll("\\D", "")) / 1024.0;
        }
      }
      return 0;
    }
  }

  public static void main(String[] arguments) throws Exception {
    JsonNode tables = new ObjectMapper().readTree(Path.of(System.getenv("BENCH_JOB")).toFile());
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, System.getenv("BENCH_RUN"));
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("BENCH_KAFKA"));
    settings.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("BENCH_DIR"));
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, arguments[0]);
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
    settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
    settings.put(StreamsConfig.producerPrefix("compression.type"), "lz4");
    StreamsBuilder builder = new StreamsBuilder();
    builder.addStateStore(Stores.keyValueStoreBuilder(
        Stores.persistentKeyValueStore(STORE), Serdes.String(), Serdes.ByteArray()).withCachingEnabled());
    builder.stream(System.getenv("BENCH_TOPIC"), Consumed.with(Serdes.String(), Serdes.ByteArray()))
        .process(() -> new Score(new Job(tables)), STORE)
        .to(System.getenv("BENCH_ALERTS"), Produced.with(Serdes.String(), Serdes.ByteArray()));
    KafkaStreams streams = new KafkaStreams(builder.build(), settings);
    streams.start();
    METER.done.await();
    streams.close();
    METER.finish();
  }
}
