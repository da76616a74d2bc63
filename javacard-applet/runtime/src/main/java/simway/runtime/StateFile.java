package simway.runtime;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.Set;

/** An image in a file that only its owner reads, replaced whole: a header, the hash of the shape, the values. Blocks on the disk. */
final class StateFile {
    private static final byte[] HEADER = {'S', 'I', 'M', 'W', 'A', 'Y', 'C', 1};
    private static final int SHAPE_BYTES = 32;
    private final Path path;

    StateFile(Path path) {
        this.path = path;
    }

    boolean exists() {
        return Files.exists(path);
    }

    /** {@code IllegalArgumentException} where the file is not an image. */
    Image load() throws IOException {
        byte[] all = Files.readAllBytes(path);
        if (all.length < HEADER.length + SHAPE_BYTES || !Arrays.equals(HEADER, Arrays.copyOf(all, HEADER.length))) {
            throw new IllegalArgumentException(path + " is not a card's memory; move it away to get a new card");
        }
        int values = HEADER.length + SHAPE_BYTES;
        return new Image(Arrays.copyOfRange(all, HEADER.length, values), Arrays.copyOfRange(all, values, all.length));
    }

    void save(Image image) throws IOException {
        Path temporary = path.resolveSibling(path.getFileName() + ".tmp");
        Files.deleteIfExists(temporary);
        var owner = PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"));
        Set<StandardOpenOption> options = Set.of(StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW);
        try (FileChannel file = FileChannel.open(temporary, options, owner)) {
            for (byte[] part : new byte[][] {HEADER, image.shape(), image.values()}) {
                ByteBuffer rest = ByteBuffer.wrap(part);
                while (rest.hasRemaining()) {
                    file.write(rest);
                }
            }
            file.force(true);
        }
        Files.move(temporary, path, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }
}
