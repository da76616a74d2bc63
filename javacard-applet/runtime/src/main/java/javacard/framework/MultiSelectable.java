package javacard.framework;

/** An applet that can be selected on several channels at once (Java Card API, Classic Edition). */
public interface MultiSelectable {
    boolean select(boolean appInstAlreadyActive);

    void deselect(boolean appInstStillActive);
}
